"""The command `captune`: one front for everything that you run. It decides nothing; each command is a module of its own."""
