"""The least that the account must allow, as an IAM policy made from one table of the requests that are sent here.

Actions and condition keys: Service Authorization Reference, "Actions, resources, and condition keys for
Amazon EC2". What changes or ends something is allowed on tagged resources only.
"""

from collections.abc import Mapping

from fleetctl.providers.aws.settings import read_settings
from fleetctl.providers.aws.tags import FLEET

READS = (
    "ec2:DescribeImages",
    "ec2:DescribeInstanceTypeOfferings",
    "ec2:DescribeInstances",
    "ec2:DescribeInternetGateways",
    "ec2:DescribeKeyPairs",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeRouteTables",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVolumes",
    "ec2:DescribeVpcs",
    "servicequotas:GetServiceQuota",
    "ssm:GetParameter",
    "sts:GetCallerIdentity",
)

MAKES = (
    "ec2:CreateInternetGateway",
    "ec2:CreateSecurityGroup",
    "ec2:CreateSubnet",
    "ec2:CreateVpc",
    "ec2:ImportKeyPair",
    "ec2:RunInstances",
)
"""Each sends its tags along, for which EC2 wants CreateTags besides."""

CHANGES = (
    "ec2:AttachInternetGateway",
    "ec2:AuthorizeSecurityGroupIngress",
    "ec2:DeleteInternetGateway",
    "ec2:DeleteKeyPair",
    "ec2:DeleteNetworkInterface",
    "ec2:DeleteSecurityGroup",
    "ec2:DeleteSubnet",
    "ec2:DeleteVolume",
    "ec2:DeleteVpc",
    "ec2:DetachInternetGateway",
    "ec2:GetConsoleOutput",
    "ec2:RevokeSecurityGroupIngress",
    "ec2:StartInstances",
    "ec2:StopInstances",
    "ec2:TerminateInstances",
)

ROUTES = ("ec2:CreateRoute",)
"""In the main route table of our own VPC, which EC2 makes with the VPC and without its tags."""


ANY_REGION = "REGION"
"""To be replaced where no regions are configured yet; it is none, so a policy with it allows nothing to be changed."""


def permissions(options: Mapping[str, object]) -> Mapping[str, object]:
    """The policy document for the configured regions, ready for `aws iam create-policy`."""
    settings = read_settings(options if "regions" in options else {**options, "regions": [ANY_REGION]})
    regions: dict[str, object] = {"StringEquals": {"aws:RequestedRegion": list(settings.regions)}}
    ours: dict[str, object] = {"Null": {f"aws:ResourceTag/{FLEET}": "false"}}
    creating = [action.removeprefix("ec2:") for action in MAKES]
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("FleetctlRead", READS, {}),
            _allow("FleetctlMake", (*MAKES, *ROUTES), regions),
            _allow("FleetctlTagWhatIsMade", ("ec2:CreateTags",), {"StringEquals": {"ec2:CreateAction": creating}}),
            _allow("FleetctlChangeItsOwn", CHANGES, regions | ours),
        ],
    }


def _allow(sid: str, actions: tuple[str, ...], condition: Mapping[str, object]) -> dict[str, object]:
    statement: dict[str, object] = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": "*"}
    return statement | ({"Condition": dict(condition)} if condition else {})
