"""The gateway side by side with others: candidates, a load generator and a stub upstream in C, CPU accounting."""
