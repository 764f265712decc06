"""Many runs on many devices, placed by bytes."""
