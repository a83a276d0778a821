package bucket

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/gofiber/fiber/v3"
)

// URLs that are signed in the way before Signature Version 4. boto3 makes such
// where nothing else is configured, and versitygw refuses them:
// https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html
const (
	v2Access    = "AWSAccessKeyId"
	v2Signature = "Signature"
	v2Expires   = "Expires"
)

// signedBefore are the parameters that such a signature covers, in its order: all
// that make another operation of a request, newer ones too, so that whoever is
// given a URL cannot add one.
var signedBefore = []string{
	"accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering", "inventory", "legal-hold", "lifecycle", "location",
	"logging", "metrics", "notification", "object-lock", "ownershipControls", "partNumber", "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment",
	"response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language", "response-content-type", "response-expires",
	"restore", "retention", "select", "select-type", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
}

// renewed puts a Version 4 signature in the place of an older one that is good, so
// that versitygw verifies the request as any other. A bad one is left as it is, and
// refused.
func (d *Driver) renewed(c fiber.Ctx) error {
	req := c.Request()
	uri := string(req.Header.RequestURI())
	if !strings.Contains(uri, v2Access+"=") {
		return c.Next()
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil {
		return c.Next()
	}
	query := u.Query()
	acct, err := d.keys.account(query.Get(v2Access))
	if err != nil || !goodV2(c, u, query, acct.Secret) {
		return c.Next()
	}
	if uri, err = d.presigned4(c, u, query, acct); err == nil {
		req.SetRequestURI(uri)
	}
	return c.Next()
}

func goodV2(c fiber.Ctx, u *url.URL, query url.Values, secret string) bool {
	expires, err := strconv.ParseInt(query.Get(v2Expires), 10, 64)
	if err != nil || time.Now().Unix() > expires {
		return false
	}
	head := &c.Request().Header
	text := strings.Join([]string{c.Method(), string(head.Peek("Content-MD5")), string(head.ContentType()), query.Get(v2Expires), amzHeaders(c) + resourceV2(u, query)}, "\n")
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(text))
	said, err := base64.StdEncoding.DecodeString(query.Get(v2Signature))
	return err == nil && hmac.Equal(said, mac.Sum(nil))
}

// amzHeaders are the x-amz- headers of a request, as the signature has them.
func amzHeaders(c fiber.Ctx) string {
	var lines []string
	for name, value := range c.Request().Header.All() {
		if name := strings.ToLower(string(name)); strings.HasPrefix(name, "x-amz-") {
			lines = append(lines, name+":"+strings.TrimSpace(string(value))+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// resourceV2 is the path with the parameters that are signed.
func resourceV2(u *url.URL, query url.Values) string {
	var signed []string
	for _, name := range signedBefore {
		if !query.Has(name) {
			continue
		}
		if value := query.Get(name); value != "" {
			name += "=" + value
		}
		signed = append(signed, name)
	}
	path := u.EscapedPath()
	if len(signed) == 0 {
		return path
	}
	return path + "?" + strings.Join(signed, "&")
}

// presigned4 is the address of the same request with a Version 4 signature.
func (d *Driver) presigned4(c fiber.Ctx, u *url.URL, query url.Values, key Key) (string, error) {
	expires, err := strconv.ParseInt(query.Get(v2Expires), 10, 64)
	if err != nil {
		return "", err
	}
	for _, name := range []string{v2Access, v2Signature, v2Expires} {
		query.Del(name)
	}
	now := time.Now()
	query.Set("X-Amz-Expires", strconv.FormatInt(min(max(expires-now.Unix(), 1), int64(maxPresign/time.Second)), 10))
	r, err := http.NewRequestWithContext(context.Background(), c.Method(), "http://"+string(c.Request().Host())+u.EscapedPath()+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	for name, value := range c.Request().Header.All() { // those that must be signed
		if strings.HasPrefix(strings.ToLower(string(name)), "x-amz-") {
			r.Header.Set(string(name), string(value))
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping, o.DisableHeaderHoisting = true, true })
	signed, _, err := signer.PresignHTTP(r.Context(), aws.Credentials{AccessKeyID: key.Access, SecretAccessKey: key.Secret}, r, "UNSIGNED-PAYLOAD", "s3", Region, now)
	if err != nil {
		return "", err
	}
	again, err := url.Parse(signed)
	if err != nil {
		return "", err
	}
	return again.RequestURI(), nil
}
