"""What several test files order: circuits as bytes, ready to be read."""
