"""What weights alone say: OV and QK products, composition, skip trigrams."""
