"""The gate that every change passes: format, lint, types, duplicates, licences, secrets, tests."""
