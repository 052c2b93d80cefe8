"""What the functions share about texts: words, tokens, and the kinds of prompts."""
