"""Models that methods share: sentence encoders, cross-encoders and causal language models."""
