"""stub"""
def png(e): return b"x"
