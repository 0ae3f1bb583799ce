"""Removes what stacks with engines of others have made: every table and bucket whose name begins with a prefix and a dash.

    JOBCHUTE_OTHER_ENGINES=PREFIX python tests/engines/clean.py

It finds them as the tests do: at AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL_S3, or else in the account of the credentials that boto3 finds.
"""

import os
import re
import sys

import boto3
from botocore.config import Config

VARIABLE = "JOBCHUTE_OTHER_ENGINES"


def prefix():
    """The prefix, with its dash. It is part of a bucket's name, and long enough to be nobody else's by chance."""
    given = os.environ.get(VARIABLE, "")
    if not re.fullmatch("[a-z][a-z0-9-]{4,19}", given):
        sys.exit(f"{VARIABLE} is no prefix: 5 to 20 lower-case letters, digits and dashes, a letter first")
    return f"{given}-"


def empty(s3, bucket):
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = page.get("Versions", []) + page.get("DeleteMarkers", [])
        objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
        if objects:
            refused = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}).get("Errors")
            assert not refused, refused


def main():
    begins = prefix()
    config = Config(retries={"mode": "adaptive", "max_attempts": 10}, s3={"addressing_style": "auto"})
    session = boto3.Session(region_name="us-east-1")
    dynamodb, s3 = session.client("dynamodb", config=config), session.client("s3", config=config)
    tables = [
        name
        for page in dynamodb.get_paginator("list_tables").paginate()
        for name in page["TableNames"]
        if name.startswith(begins)
    ]
    for name in tables:
        dynamodb.delete_table(TableName=name)
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if bucket["Name"].startswith(begins)]
    for name in buckets:
        empty(s3, name)
        s3.delete_bucket(Bucket=name)
    print(f"removed {len(tables)} tables and {len(buckets)} buckets of {begins}")


if __name__ == "__main__":
    main()
