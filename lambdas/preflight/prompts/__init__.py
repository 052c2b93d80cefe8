"""The comparison prompts of a run and the patterns of their key facts, read and checked."""
