"""The paper's experiment: its members, the sweep over them, its tables and claims beside ours, and the demo."""
