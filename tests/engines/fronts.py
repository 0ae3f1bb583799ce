"""An HTTP API's event (`events/*.json`) as what stands before the functions otherwise would send it (docs/fronts.md)."""

import base64
import json
from urllib.parse import parse_qs, quote

STAGE = "v1"


def http_api(event):
    return event


def rest_api(event):
    """Payload 1.0, of "Set up Lambda proxy integrations": names and values one by one, the stage before the path, the body as bytes.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html"""
    context, headers = event["requestContext"], event["headers"]
    method, resource = context["routeKey"].split(" ")
    query = parse_qs(event["rawQueryString"], keep_blank_values=True)
    body = event.get("body")
    if body is not None and not event["isBase64Encoded"]:
        body = base64.b64encode(body.encode()).decode()
    names = {"-".join(word.capitalize() for word in name.split("-")): value for name, value in headers.items()}
    return {
        "resource": resource,
        "path": quote(event["rawPath"]),
        "httpMethod": method,
        "headers": names,
        "multiValueHeaders": {name: [value] for name, value in names.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": event.get("pathParameters"),
        "stageVariables": None,
        "requestContext": {
            "accountId": context["accountId"],
            "apiId": context["apiId"],
            "domainName": context["domainName"],
            "domainPrefix": context["domainPrefix"],
            "extendedRequestId": context["requestId"],
            "httpMethod": method,
            "identity": {"sourceIp": context["http"]["sourceIp"], "userAgent": context["http"]["userAgent"]},
            "path": f"/{STAGE}{quote(event['rawPath'])}",
            "protocol": "HTTP/1.1",
            "requestId": context["requestId"],
            "requestTime": context["time"],
            "requestTimeEpoch": context["timeEpoch"],
            "resourceId": "1a2b3c",
            "resourcePath": resource,
            "stage": STAGE,
        },
        "body": body,
        "isBase64Encoded": body is not None,
    }


def function_url(event):
    """Payload 2.0 without a route, of "Invoking Lambda function URLs".
    https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html"""
    event = json.loads(json.dumps(event))
    event.pop("pathParameters", None)
    context = event["requestContext"]
    context["domainName"] = event["headers"]["host"] = f"{context['domainPrefix']}.lambda-url.us-east-1.on.aws"
    event["rawPath"] = context["http"]["path"] = quote(event["rawPath"])
    event["routeKey"] = context["routeKey"] = "$default"
    return event


FRONTS = [http_api, rest_api, function_url]
