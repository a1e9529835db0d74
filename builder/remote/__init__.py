"""Run folders at s3://, gs:// and hf:// URLs."""
