"""What the training's settings may be, declared once: the check of cdk.json and the training script, with which it is staged, read it here."""

# key: (lowest, highest). Integers where training's `Arguments` say int.
LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (1, 50),
    "max_steps": (0, 1_000_000),
    "learning_rate": (1e-7, 1.0),
    "sequence_length": (64, 4096),
    "sequences_per_step": (0, 1024),
    "lora_rank": (1, 64),  # 64 fits a GPU of 24 GB beside 7 billion parameters
    "lora_alpha": (0.1, 1024),
    "adapter_strength": (0.05, 1.0),
    "lora_dropout": (0.0, 0.9),
    "warmup_ratio": (0.0, 0.9),
    "weight_decay": (0.0, 1.0),
    "max_gradient_norm": (0.01, 1000.0),
    "seed": (0, 2**31 - 1),
    "time_budget_seconds": (10, 28 * 24 * 3600),  # 28 days is SageMaker's own limit
    "checkpoint_minutes": (0.0, 60.0),
}
CHOICES = {"long_records": ("split", "refuse"), "document_order": ("shuffled", "written")}
