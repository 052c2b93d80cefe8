"""Evidence that the verdict can be believed: null experiments must not pass, and the real effect must, for several seeds."""
