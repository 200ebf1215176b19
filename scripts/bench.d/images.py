def measure(b,f): return [],[]
