package bucket

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/s3proxy"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly"
)

// Secrets are apps' secrets, for the credentials of buckets elsewhere.
type Secrets interface {
	Secret(ctx context.Context, app mayfly.AppName, name string) (string, error)
}

// external is a bucket on another S3 server, as a manifest names it.
type external struct {
	endpoint, bucket, region, secret string
}

// parseExternal reads https://HOST/BUCKET.
func parseExternal(b *mayfly.Bucket) (e external, err error) {
	u, err := url.Parse(b.External)
	if err != nil {
		return e, mayfly.Errorf(mayfly.Invalid, "read external bucket", "%q is not a URL: %w", b.External, err)
	}
	name := strings.Trim(u.Path, "/")
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || name == "" || strings.Contains(name, "/") || u.User != nil || u.RawQuery != "" {
		return e, mayfly.Errorf(mayfly.Invalid, "read external bucket", "%q is not the address of a bucket; write it as https://s3.example.com/BUCKET, and its credentials in a secret", b.External)
	}
	e = external{endpoint: u.Scheme + "://" + u.Host, bucket: name, region: b.Region, secret: b.Credentials}
	if e.region == "" {
		e.region = Region
	}
	return e, nil
}

// checkExternal says what of a bucket cannot be elsewhere.
func checkExternal(op string, b *mayfly.Bucket) (problems []error) {
	bad := func(key, format string, args ...any) {
		problems = append(problems, mayfly.Errorf(mayfly.Invalid, op+"."+key, format, args...))
	}
	if b.External == "" {
		for key, value := range map[string]string{"credentials": b.Credentials, "region": b.Region} {
			if value != "" {
				bad(key, "is for a bucket with external: https://HOST/BUCKET; remove it or say where the bucket is")
			}
		}
		return problems
	}
	if _, err := parseExternal(b); err != nil {
		bad("external", "%s", mayfly.MessageOf(err))
	}
	if b.Credentials == "" {
		bad("credentials", "is missing; it is the name of a secret that holds ACCESS_KEY_ID:SECRET_ACCESS_KEY")
	}
	if b.Quota > 0 {
		bad("quota", "is for buckets of this node; set it where the bucket is")
	}
	return problems
}

// credentialsLast is for how long credentials are used before the secret is
// read again: a rotation takes effect within that time.
const credentialsLast = time.Minute

// openExternal makes the store of a bucket elsewhere. It connects to nothing.
func (d *Driver) openExternal(app mayfly.AppName, e external) (store, error) {
	client := s3.New(s3.Options{
		BaseEndpoint: &e.endpoint, Region: e.region, UsePathStyle: true,
		HTTPClient: &http.Client{Transport: outward{d.outward}},
		// Bodies are streams from the caller: they can neither be sent twice nor
		// summed before.
		Retryer:                    aws.NopRetryer{},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		Credentials: aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(ctx context.Context) (c aws.Credentials, err error) {
			value, err := d.cfg.Secrets.Secret(ctx, app, e.secret)
			if err != nil {
				return c, err
			}
			access, secret, ok := strings.Cut(strings.TrimSpace(value), ":")
			if !ok {
				return c, mayfly.Errorf(mayfly.Invalid, "use secret "+e.secret, "it does not hold ACCESS_KEY_ID:SECRET_ACCESS_KEY")
			}
			return aws.Credentials{AccessKeyID: access, SecretAccessKey: secret, CanExpire: true, Expires: time.Now().Add(credentialsLast)}, nil
		})),
	})
	proxy, err := s3proxy.NewWithClient(context.Background(), client, "")
	if err != nil {
		return store{}, err
	}
	if strings.HasPrefix(e.endpoint, "http:") {
		return store{inTheClear{proxy}, e.bucket}, nil
	}
	return store{proxy, e.bucket}, nil
}

// inTheClear is another server without TLS. The SDK then sends no checksum of a
// stream; what the caller sent was compared with its own checksum here.
type inTheClear struct{ *s3proxy.S3Proxy }

func (c inTheClear) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	in.ChecksumAlgorithm = ""
	return c.S3Proxy.PutObject(ctx, in)
}

func (c inTheClear) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	in.ChecksumAlgorithm = ""
	return c.S3Proxy.UploadPart(ctx, in)
}

// explain says of an external bucket's error that is not S3's what it means.
func (g *gate) explain(p place, err error) error {
	if err == nil || p.spec == nil || !p.spec.elsewhere() || errorCode(err) != "InternalError" {
		return err
	}
	g.d.cfg.Log.Warn("the server of an external bucket does not answer", "app", p.app, "bucket", p.bucket, "error", err)
	return s3err.APIError{
		Code: "ServiceUnavailable", HTTPStatusCode: http.StatusServiceUnavailable,
		Description: "the server that holds bucket " + p.bucket + " does not answer, or its credentials cannot be used; the daemon's log says more",
	}
}

// externalTime bounds what a deploy asks of another server.
const externalTime = 10 * time.Second

// elsewhere reports whether the store is another server's.
func (s *spec) elsewhere() bool { return s.external != external{} }

// same reports whether s asks of another server what was asked before.
func (s *spec) same(before *spec) bool {
	return before != nil && before.external == s.external && before.versions == s.versions
}

// makeExternal makes a bucket elsewhere where it is missing, and has it keep
// versions where that is declared. Where it is not, they are its owner's affair.
func (d *Driver) makeExternal(ctx context.Context, s *spec, b *mayfly.Bucket) error {
	ctx, cancel := context.WithTimeout(ctx, externalTime)
	defer cancel()
	_, err := s.files.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.folder})
	if code := errorCode(err); code == "NotFound" || code == "NoSuchBucket" {
		err = s.files.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &s.folder}, nil)
	}
	if err == nil && b.Versioning {
		err = d.setVersioning(ctx, s, true)
	}
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "open bucket "+s.name, "its server at %s does not let it be used: %w", b.External, err)
	}
	return nil
}
