"""Removes what stacks with engines of others have made: every table and bucket whose name is a prefix, 12 hexadecimal digits and what the
template calls it, with dashes between them. A deployment of that name has other names: they have no such digits.

    JOBCHUTE_OTHER_ENGINES=PREFIX python tests/engines/clean.py

It finds them as the tests do: at AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL_S3, or else in the account of the credentials that boto3 finds.
"""

import os
import re
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

VARIABLE = "JOBCHUTE_OTHER_ENGINES"


def is_made_here():
    """Tells names as `local` makes them, in others.rs."""
    given = os.environ.get(VARIABLE, "")
    if not re.fullmatch("[a-z][a-z0-9-]{4,19}", given):
        sys.exit(f"{VARIABLE} is no prefix: 5 to 20 lower-case letters, digits and dashes, a letter first")
    return re.compile(f"{given}-[0-9a-f]{{12}}-").match


def client(service):
    """A client of the engine that the tests have: neither AWS_ENDPOINT_URL nor a profile's endpoint leads elsewhere."""
    config = Config(
        retries={"mode": "adaptive", "max_attempts": 10}, s3={"addressing_style": "auto"}, ignore_configured_endpoint_urls=True
    )
    url = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or None
    return boto3.Session(region_name="us-east-1").client(service, endpoint_url=url, config=config)


def remove_table(dynamodb, name):
    try:
        dynamodb.delete_table(TableName=name)
    except dynamodb.exceptions.ResourceInUseException:
        # It is being made, and can be deleted when it is.
        dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 2, "MaxAttempts": 60})
        dynamodb.delete_table(TableName=name)


def remove_bucket(s3, bucket):
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = page.get("Versions", []) + page.get("DeleteMarkers", [])
        objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
        if objects:
            refused = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}).get("Errors")
            assert not refused, refused
    s3.delete_bucket(Bucket=bucket)


def clean():
    """Removes what it can, and tells what it could not."""
    is_ours = is_made_here()
    dynamodb, s3 = client("dynamodb"), client("s3")
    names = [name for page in dynamodb.get_paginator("list_tables").paginate() for name in page["TableNames"]]
    tables = [name for name in names if is_ours(name)]
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if is_ours(bucket["Name"])]
    left = []
    for remove, engine, names in [(remove_table, dynamodb, tables), (remove_bucket, s3, buckets)]:
        for name in names:
            try:
                remove(engine, name)
            except (AssertionError, BotoCoreError, ClientError) as error:
                left.append(name)
                print(f"FAILED: {name} is not removed: {error}")
    found = len(tables) + len(buckets)
    print(f"found {len(tables)} tables and {len(buckets)} buckets, removed {found - len(left)} of {found}")
    return left


if __name__ == "__main__":
    sys.exit(1 if clean() else 0)
