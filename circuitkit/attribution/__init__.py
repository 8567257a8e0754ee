"""Attribution graphs of one prompt: transcoder features at positions, and what refutes them."""
