"""The model server of `captune use` on this machine: OpenAI's API, many answers at once, each for as long as its client stays."""
