"""Signs a PUT with Amazon's own library. Usage: sign_s3.py ENDPOINT BUCKET KEY ACCESS_KEY SECRET_KEY SECONDS"""

import sys

import boto3
from botocore.config import Config

endpoint, bucket, key, access_key, secret_key, seconds = sys.argv[1:]
client = boto3.client(
    "s3",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id=access_key,
    aws_secret_access_key=secret_key,
    config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
)
print(client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key}, ExpiresIn=int(seconds)))
