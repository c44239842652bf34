"""The parts of the YAML format: source (bytes), events (placed values), nodes and rules (meaning), emit."""
