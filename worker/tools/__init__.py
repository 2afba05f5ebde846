"""The functions the model may call: one file and one schema each."""
