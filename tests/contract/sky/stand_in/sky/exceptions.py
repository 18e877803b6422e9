"""Of SkyPilot's exceptions, those that the tests meet; the same names, bases and attributes."""


class ResourcesUnavailableError(Exception):
    def __init__(self, message, no_failover=False, failover_history=None):
        super().__init__(message)
        self.no_failover = no_failover
        self.failover_history = list(failover_history or ())


class CloudError(Exception):
    def __init__(self, message, cloud_provider, error_type):
        super().__init__(message)
        self.cloud_provider = cloud_provider
        self.error_type = error_type


class ClusterDoesNotExist(ValueError):
    pass


class NoCloudAccessError(Exception):
    pass


class CloudUserIdentityError(Exception):
    pass


class ConcurrentWorkerExhaustedError(Exception):
    pass


class ApiServerConnectionError(RuntimeError):
    pass


class ServerTemporarilyUnavailableError(Exception):
    pass


class RequestCancelled(Exception):
    pass


class NotSupportedError(Exception):
    pass


class CommandError(Exception):
    pass
