"""The GPU side: a supervisor without torch, and its child, the engine; knows no HTTP."""
