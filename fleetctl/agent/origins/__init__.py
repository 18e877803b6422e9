"""Where Artifacts come from at first: the model hub, object stores, web servers, registries, folders of this machine."""
