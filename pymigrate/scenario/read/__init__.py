"""From text to a scenario: the loader, single steps, the JSON Schema."""
