"""Where the engines of others are known to be wrong by AWS's documentation: the one table of it.

    python tests/engines/deviations.py MOTO_URL

asserts those that are cheap to see, so that we learn when an engine is mended. `suite.py` knows the tests that fail because of one.
"""

import base64
import hashlib
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Callable, Optional


@dataclass
class Deviation:
    engine: str
    # What the engine does, and what it should.
    does: str
    # The page that says so.
    page: str
    # Asserts that the engine still does it.
    stands: Optional[Callable] = None
    # Tests that fail because of it.
    tests: list = field(default_factory=list)


def put(url, body, headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="PUT")) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def loses_envelopes(s3):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "deviations", "Key": "envelope"})
    assert put(url, b"--b\r\n\r\nhello\r\n--b--\r\n", headers) == 200
    return s3.head_object(Bucket="deviations", Key="envelope")["ContentLength"] == 0


def believes_any_checksum(s3):
    wrong = base64.b64encode(hashlib.sha256(b"something else").digest()).decode()
    parameters = {"Bucket": "deviations", "Key": "checksum", "ChecksumSHA256": wrong}
    url = s3.generate_presigned_url("put_object", Params=parameters)
    return put(url, b"hello", {"x-amz-checksum-sha256": wrong}) == 200


def names_the_root_of_list_parts_wrongly(s3):
    upload = s3.create_multipart_upload(Bucket="deviations", Key="parts")["UploadId"]
    url = s3.generate_presigned_url("list_parts", Params={"Bucket": "deviations", "Key": "parts", "UploadId": upload})
    with urllib.request.urlopen(url) as answer:
        return b"<ListPartsResult" not in answer.read()


S3 = "https://docs.aws.amazon.com/AmazonS3/latest/"
DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/"

DEVIATIONS = [
    Deviation(
        "Runtime Interface Emulator",
        "cuts an event off after 6 MiB and 100 bytes and hands over the rest; Lambda answers 413 RequestTooLargeException. rie.py sees it",
        "https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html",
    ),
    Deviation(
        "moto",
        "loses the body of a PUT whose Content-Type is multipart/form-data; S3 stores it",
        S3 + "API/API_PutObject.html",
        loses_envelopes,
    ),
    Deviation(
        "moto",
        "stores an object whose x-amz-checksum-sha256 is not its own; S3 answers 400 BadDigest",
        S3 + "userguide/checking-object-integrity-upload.html",
        believes_any_checksum,
    ),
    Deviation(
        "moto",
        "calls the root of ListParts' answer ListPartsResponse; it is ListPartsResult",
        S3 + "API/API_ListParts.html",
        names_the_root_of_list_parts_wrongly,
    ),
    Deviation(
        "moto",
        "carries out conditional writes and transactions of several threads at once, so that both may hold; DynamoDB's are serial for "
        "each item. That is why moto_one_at_a_time.py has a lock",
        DYNAMODB + "developerguide/transaction-apis.html",
    ),
    Deviation(
        "LocalStack",
        "takes a body without a length; S3 answers 411 MissingContentLength, and 501 NotImplemented to a chunked one",
        S3 + "API/ErrorResponses.html",
        tests=["wall::a_body_without_a_length_is_refused"],
    ),
    Deviation(
        "LocalStack",
        "stores what a form without a policy brings; S3 answers 403 AccessDenied",
        S3 + "API/sigv4-HTTPPOSTConstructPolicy.html",
        tests=["wall::a_form_needs_a_policy_that_is_signed"],
    ),
    Deviation(
        "LocalStack",
        "overlooks an Authorization header beside a presigned URL; S3 answers 400 InvalidArgument",
        S3 + "API/sigv4-query-string-auth.html",
        tests=["wall::a_request_authenticates_in_one_way"],
    ),
    Deviation(
        "LocalStack",
        "answers 403 SignatureDoesNotMatch where X-Amz-Expires is over a week or no number; S3 answers 400 AuthorizationQueryParametersError",
        S3 + "API/sigv4-query-string-auth.html",
        tests=["wall::a_urls_life_cannot_be_changed"],
    ),
]


def main():
    import boto3
    from botocore.config import Config

    config = Config(signature_version="s3v4", s3={"addressing_style": "path"})
    s3 = boto3.client(
        "s3", endpoint_url=sys.argv[1], region_name="us-east-1", config=config,
        aws_access_key_id="test", aws_secret_access_key="test",
    )
    s3.create_bucket(Bucket="deviations")
    for deviation in DEVIATIONS:
        if deviation.stands:
            assert deviation.stands(s3), f"{deviation.engine} is mended: no more it {deviation.does} ({deviation.page})"
        seen = "" if deviation.stands else " (suite.py sees it)" if deviation.tests else " (not asked for here)"
        print(f"{deviation.engine} {deviation.does}: {deviation.page}{seen}")


if __name__ == "__main__":
    main()
