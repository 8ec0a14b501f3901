"""What a scenario file may say: models, and the checks that go across them."""
