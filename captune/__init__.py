"""The command `captune`: one front for what a person runs. It decides nothing; each command is a module of its own."""
