"""Inner loops of a request, compiled: what numpy would do in many passes over small arrays is one pass here.

The loops over floats are C in the headers, which a compiler makes twice, for any processor of its kind and for one
with AVX2; Cython is what Python calls. Nothing here knows more than arrays: what they mean stands where they are asked.
"""
