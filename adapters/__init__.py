"""The methods: one class, one file each, grouped by family. They import ``harness`` and never each other."""
