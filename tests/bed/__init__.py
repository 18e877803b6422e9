"""A test bed of real parts on one machine: hosts with links of their own, sshd, dockerd, a registry, a real vLLM."""
