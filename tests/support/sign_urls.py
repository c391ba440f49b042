"""Signs URLs with Google's and Amazon's own client libraries, for the sandbox to check.

Usage: sign_urls.py ENDPOINT BUCKET OBJECT. Prints one JSON object: the keys that were made for the occasion, and the URLs.
"""

import base64
import datetime
import json
import sys

import boto3
from botocore.config import Config
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud import storage
from google.oauth2 import service_account

CLIENT_EMAIL = "signer@ferry-test.iam.gserviceaccount.com"
ACCESS_ID = "AKIAFERRYTEST"
SECRET = "made/for+this=test"
HOUR = 3600


def google(endpoint, bucket, name):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    credentials = service_account.Credentials.from_service_account_info(
        {"client_email": CLIENT_EMAIL, "private_key": pem.decode(), "token_uri": endpoint}
    )
    blob = storage.Client(project="ferry-test", credentials=credentials).bucket(bucket).blob(name)

    def sign(method, seconds=HOUR, version="v4", **options):
        return blob.generate_signed_url(
            datetime.timedelta(seconds=seconds),
            api_access_endpoint=endpoint,
            credentials=credentials,
            method=method,
            version=version,
            **options,
        )

    policy = storage.Client(project="ferry-test", credentials=credentials).generate_signed_post_policy_v4(
        bucket,
        name,
        datetime.timedelta(seconds=HOUR),
        conditions=[["content-length-range", 1, 1000]],
        credentials=credentials,
    )
    return {
        "client_email": CLIENT_EMAIL,
        "public_key_der": base64.b64encode(public).decode(),
        "put": sign("PUT"),
        "put_typed": sign("PUT", content_type="video/mp4"),
        "put_with_headers": sign("PUT", headers={"x-goog-meta-note": "two  words", "Content-Type": "text/plain"}),
        "put_for_a_second": sign("PUT", seconds=1),
        "put_v2": sign("PUT", version="v2"),
        "resumable": sign("RESUMABLE"),
        "get": sign("GET"),
        "get_named": sign("GET", response_disposition='attachment; filename="other name.bin"'),
        "policy_fields": policy["fields"],
    }


def amazon(endpoint, bucket, name):
    def sign(operation, seconds=HOUR, version="s3v4", **parameters):
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="eu-central-1",
            aws_access_key_id=ACCESS_ID,
            aws_secret_access_key=SECRET,
            config=Config(signature_version=version, s3={"addressing_style": "path"}),
        )
        parameters = {"Bucket": bucket, "Key": name, **parameters}
        return client.generate_presigned_url(operation, Params=parameters, ExpiresIn=seconds)

    return {
        "access_id": ACCESS_ID,
        "secret": SECRET,
        "put": sign("put_object"),
        "put_typed": sign("put_object", ContentType="video/mp4"),
        "put_for_a_second": sign("put_object", seconds=1),
        "put_v2": sign("put_object", version="s3"),
        "get": sign("get_object"),
    }


def main():
    endpoint, bucket, name = sys.argv[1:]
    print(json.dumps({"google": google(endpoint, bucket, name), "amazon": amazon(endpoint, bucket, name)}))


if __name__ == "__main__":
    main()
