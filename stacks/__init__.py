"""The CDK side of Captune: what exists on AWS, and who may do what."""
