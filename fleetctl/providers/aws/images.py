"""The machine image of a launch: AWS's own deep-learning image unless one is named, and what has to be known of it.

The parameter's path: AWS Deep Learning AMIs, "Find the AMI ID with AWS Systems Manager". The image has the NVIDIA
driver, Docker and the container toolkit, and no frameworks. It is the one
for x86_64: the catalog has no machine types of another kind.
"""

from dataclasses import dataclass

from fleetctl.errors import InvalidRequest, ProviderError
from fleetctl.providers.aws.sdk import Sdk

GPU_IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    id: str
    root_device: str
    least_disk_gb: int


class Images:
    """Images found so far. One is asked for once in a process, so that its launches are alike."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk
        self._known: dict[tuple[str, str], Image] = {}

    async def find(self, region: str, named: str) -> Image:
        """The image called `named` (`ami-…` or a parameter's path); for an empty name the GPU image."""
        key = (region, named)
        if key not in self._known:
            self._known[key] = await self._find(region, named)
        return self._known[key]

    async def _find(self, region: str, named: str) -> Image:
        name = named or GPU_IMAGE
        if name.startswith("/"):
            name = await self._parameter(region, name)
        answer = await self._sdk.read(region, "describe_images", ImageIds=[name])
        if not answer["Images"]:
            raise InvalidRequest(f"aws: there is no image {name} in {region}", hint="providers.aws.image")
        image = answer["Images"][0]
        root = image.get("RootDeviceName") or "/dev/sda1"
        sizes = [
            int(disk["Ebs"].get("VolumeSize") or 0)
            for disk in image.get("BlockDeviceMappings", ())
            if disk.get("DeviceName") == root and "Ebs" in disk
        ]
        return Image(id=name, root_device=root, least_disk_gb=max(sizes, default=0))

    async def _parameter(self, region: str, path: str) -> str:
        try:
            answer = await self._sdk.read_of("ssm", region, "get_parameter", Name=path)
        except ProviderError as error:
            if error.provider_code == "ParameterNotFound":
                raise InvalidRequest(
                    f"aws: {region} has no image under {path}",
                    hint="name one: providers: {aws: {image: ami-…}}",
                    provider_code=error.provider_code,
                ) from error
            raise
        return str(answer["Parameter"]["Value"])
