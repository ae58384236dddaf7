"""Networks: encoders, memory layers, trunks and heads."""
