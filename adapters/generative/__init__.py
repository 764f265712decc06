"""Written answers: what is retrieved is read by a language model."""
