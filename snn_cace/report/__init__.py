"""Tables, figures and pages. Reads JSON only, never a model."""
