"""What is known of the real vLLM server: how a request finds its model, and an environment to run it in."""
