package bucket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/danielgtaylor/huma/v2"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// Path names a bucket in the API; exported so that huma fills it.
type Path struct {
	App    string `path:"app" doc:"The app that declares the bucket"`
	Bucket string `path:"bucket" doc:"The bucket's name"`
}

// Info describes a bucket.
type Info struct {
	Bucket    string       `json:"bucket"`
	S3        string       `json:"s3_name" doc:"Its name with the administrator's key"`
	Objects   int64        `json:"objects"`
	Bytes     int64        `json:"bytes"`
	Quota     mayfly.Bytes `json:"quota,omitempty"`
	Public    bool         `json:"public"`
	Website   string       `json:"website,omitempty" doc:"The path of its site among the app's routes"`
	Elsewhere bool         `json:"elsewhere,omitempty" doc:"Another S3 server holds the objects, which are not counted here"`
}

// Object describes an object.
type Object struct {
	Key      string    `json:"key"`
	Size     int64     `json:"size"`
	ETag     string    `json:"etag"`
	Modified time.Time `json:"modified"`
}

type listOutput struct {
	Body struct {
		Buckets []Info `json:"buckets"`
	}
}

type objectsInput struct {
	Path
	Prefix    string `query:"prefix"`
	Delimiter string `query:"delimiter" maxLength:"10" doc:"Keys that have it after the prefix are told as folders: write / for those that people know"`
	After     string `query:"after" doc:"next of the page before"`
	Limit     int32  `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
}

type objectsOutput struct {
	Body struct {
		Folders []string `json:"folders,omitempty" doc:"Prefixes up to the delimiter"`
		Objects []Object `json:"objects"`
		Next    string   `json:"next,omitempty"`
	}
}

// ObjectPath names an object; exported so that huma fills it.
type ObjectPath struct {
	Path
	Key string `path:"key" doc:"The object's key; percent-encode what a path cannot hold"`
}

type putInput struct {
	ObjectPath
	ContentType string `header:"Content-Type"`
	RawBody     []byte
}

type putOutput struct {
	Body struct {
		ETag    string `json:"etag"`
		Version string `json:"version,omitempty"`
		Size    int    `json:"size"`
	}
}

type presignInput struct {
	Path
	Body struct {
		Method  string `json:"method" enum:"GET,PUT,DELETE,HEAD"`
		Key     string `json:"key" minLength:"1" maxLength:"1024"`
		Expires string `json:"expires,omitempty" doc:"How long the URL works, at most 7d; default 15m"`
	}
}

type presignOutput struct {
	Body struct {
		URL     string    `json:"url"`
		Method  string    `json:"method"`
		Expires time.Time `json:"expires"`
	}
}

type keyOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Key
		Endpoint string `json:"endpoint"`
		Region   string `json:"region"`
	}
}

// maxObject is the largest object that is put by the API; S3 takes larger ones.
const maxObject = 64 << 20

// Register adds the service's operations. Objects go through S3, by URLs that
// presign makes, or, where no S3 client is at hand, by plain requests here.
func (d *Driver) Register(api huma.API) {
	const base = "/v1/apps/{app}/buckets"
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"Buckets"}, MaxBodyBytes: 64 << 10}
	}
	huma.Register(api, op("list-buckets", http.MethodGet, base, "List an app's buckets"), d.listBuckets)
	huma.Register(api, op("list-objects", http.MethodGet, base+"/{bucket}/objects", "List objects in order, by page"), d.listObjects)
	huma.Register(api, op("get-object", http.MethodGet, base+"/{bucket}/objects/{key...}", "Get an object"), d.getObject)
	put := op("put-object", http.MethodPut, base+"/{bucket}/objects/{key...}", "Put an object of up to 64 MiB; S3 takes larger ones")
	put.MaxBodyBytes = maxObject
	huma.Register(api, put, d.putObject)
	huma.Register(api, op("delete-object", http.MethodDelete, base+"/{bucket}/objects/{key...}", "Delete an object"), d.deleteObject)
	huma.Register(api, op("presign-object", http.MethodPost, base+"/{bucket}/presign", "Make a URL that does one thing to one object for a while"), d.presign)
	huma.Register(api, op("list-s3-keys", http.MethodGet, "/v1/apps/{app}/s3-keys", "List the keys that people and tools have for an app's buckets"), d.listKeys)
	create := op("create-s3-key", http.MethodPost, "/v1/apps/{app}/s3-keys", "Make a key for a person or a tool; its secret is told once")
	create.DefaultStatus = http.StatusCreated
	huma.Register(api, create, d.createKey)
	huma.Register(api, op("revoke-s3-key", http.MethodDelete, "/v1/apps/{app}/s3-keys/{name}", "End a key for good"), d.revokeKey)
	huma.Register(api, op("get-s3-credentials", http.MethodGet, "/v1/s3", "The administrator's S3 credentials"), d.credentials)
}

func (d *Driver) listBuckets(ctx context.Context, in *struct {
	App string `path:"app"`
}) (*listOutput, error) {
	app := mayfly.AppName(in.App)
	if err := d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), app, service.List, service.KindBucket, "*"); err != nil {
		return nil, err
	}
	out := &listOutput{}
	out.Body.Buckets = []Info{}
	for _, s := range *d.specs.Load() {
		if s.app != app {
			continue
		}
		info := Info{Bucket: s.name, S3: s.full(), Quota: mayfly.Bytes(s.quota), Public: s.public, Elsewhere: s.elsewhere()}
		if s.website != nil {
			info.Website = s.website.Root()
		}
		if !s.elsewhere() {
			info.Objects, info.Bytes = measure(s.folder)
		}
		out.Body.Buckets = append(out.Body.Buckets, info)
	}
	slices.SortFunc(out.Body.Buckets, func(a, b Info) int { return strings.Compare(a.Bucket, b.Bucket) })
	return out, nil
}

// open is the declared bucket, where the caller may do verb to it.
func (d *Driver) open(ctx context.Context, p Path, verb string) (*spec, error) {
	app := mayfly.AppName(p.App)
	if err := d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), app, verb, service.KindBucket, p.Bucket); err != nil {
		return nil, err
	}
	s := d.spec(app, p.Bucket)
	if s == nil {
		return nil, mayfly.Errorf(mayfly.NotFound, "open bucket", "app %s declares no bucket %q; add it under buckets: in its manifest", app, p.Bucket)
	}
	return s, nil
}

// platform is ctx for a call of the gate that was authorised already.
func platform(ctx context.Context) context.Context {
	return mayfly.WithCaller(ctx, mayfly.Caller{Kind: mayfly.CallerPlatform})
}

func (d *Driver) listObjects(ctx context.Context, in *objectsInput) (*objectsOutput, error) {
	s, err := d.open(ctx, in.Path, service.List)
	if err != nil {
		return nil, err
	}
	name := s.full()
	ask := listInput(&name, in.Prefix, &in.After, in.Limit)
	ask.Delimiter = &in.Delimiter
	page, err := d.gate.ListObjectsV2(platform(ctx), ask)
	if err != nil {
		return nil, problem("list bucket "+s.name, err)
	}
	out := &objectsOutput{}
	out.Body.Objects = []Object{}
	for _, o := range page.Contents {
		out.Body.Objects = append(out.Body.Objects, Object{Key: *o.Key, Size: *o.Size, ETag: strings.Trim(text(o.ETag), `"`), Modified: *o.LastModified})
	}
	for _, p := range page.CommonPrefixes {
		out.Body.Folders = append(out.Body.Folders, text(p.Prefix))
	}
	out.Body.Next = text(page.NextContinuationToken)
	return out, nil
}

func (d *Driver) getObject(ctx context.Context, in *ObjectPath) (*huma.StreamResponse, error) {
	s, err := d.open(ctx, in.Path, service.Read)
	if err != nil {
		return nil, err
	}
	name := s.full()
	out, err := d.gate.GetObject(ctx, &s3.GetObjectInput{Bucket: &name, Key: &in.Key, Range: new(string)})
	if err != nil {
		return nil, problem("get object "+in.Key, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer out.Body.Close()
		for header, value := range map[string]*string{"Content-Type": out.ContentType, "Content-Encoding": out.ContentEncoding, "ETag": out.ETag, "Cache-Control": out.CacheControl} {
			if text(value) != "" {
				hc.SetHeader(header, *value)
			}
		}
		hc.SetHeader("Content-Length", strconv.FormatInt(*out.ContentLength, 10))
		_, _ = io.Copy(hc.BodyWriter(), out.Body)
	}}, nil
}

func (d *Driver) putObject(ctx context.Context, in *putInput) (*putOutput, error) {
	s, err := d.open(ctx, in.Path, service.Write)
	if err != nil {
		return nil, err
	}
	name, size := s.full(), int64(len(in.RawBody))
	put := s3response.PutObjectInput{Bucket: &name, Key: &in.Key, Body: bytes.NewReader(in.RawBody), ContentLength: &size}
	if in.ContentType != "" {
		put.ContentType = &in.ContentType
	}
	made, err := d.gate.PutObject(ctx, put)
	if err != nil {
		return nil, problem("put object "+in.Key, err)
	}
	out := &putOutput{}
	out.Body.ETag, out.Body.Version, out.Body.Size = strings.Trim(made.ETag, `"`), made.VersionID, len(in.RawBody)
	return out, nil
}

func (d *Driver) deleteObject(ctx context.Context, in *ObjectPath) (*struct{}, error) {
	s, err := d.open(ctx, in.Path, service.Delete)
	if err != nil {
		return nil, err
	}
	name := s.full()
	_, err = d.gate.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &name, Key: &in.Key})
	return nil, problem("delete object "+in.Key, err)
}

// problem gives an S3 error the code that it has here.
func problem(op string, err error) error {
	codes := map[string]mayfly.Code{
		"NoSuchKey": mayfly.NotFound, "NoSuchBucket": mayfly.NotFound, "AccessDenied": mayfly.Denied,
		"InvalidArgument": mayfly.Invalid, "QuotaExceeded": mayfly.Quota, "PreconditionFailed": mayfly.Conflict, "ServiceUnavailable": mayfly.Unavailable,
	}
	if err == nil {
		return nil
	}
	var e s3err.S3Error
	if code, ok := codes[errorCode(err)]; ok && errors.As(err, &e) {
		base := e.BaseError()
		return &mayfly.Error{Code: code, Op: op, Message: base.Code + ": " + base.Description, Err: err}
	}
	return err
}

// maxPresign is S3's limit.
const maxPresign = 7 * 24 * time.Hour

func (d *Driver) presign(ctx context.Context, in *presignInput) (*presignOutput, error) {
	verb := map[string]string{"GET": service.Read, "HEAD": service.Read, "PUT": service.Write, "DELETE": service.Delete}[in.Body.Method]
	s, err := d.open(ctx, in.Path, verb)
	if err != nil {
		return nil, err
	}
	life := mayfly.Duration(15 * time.Minute)
	if in.Body.Expires != "" {
		if life, err = mayfly.ParseDuration(in.Body.Expires); err != nil {
			return nil, err
		}
	}
	if life.D() < time.Second || life.D() > maxPresign {
		return nil, mayfly.Errorf(mayfly.Invalid, "presign", "expires must be between 1s and 7d")
	}
	out := &presignOutput{}
	out.Body.Method, out.Body.Expires = in.Body.Method, time.Now().Add(life.D()).UTC()
	out.Body.URL, err = d.Presign(ctx, s.full(), in.Body.Key, in.Body.Method, life.D())
	return out, err
}

// Presign makes a URL of the S3 port that does method to an object until life
// has passed; bucket is APP.BUCKET.
func (d *Driver) Presign(ctx context.Context, bucket, key, method string, life time.Duration) (string, error) {
	endpoint := d.url.Load()
	if endpoint == nil {
		return "", mayfly.Errorf(mayfly.Unavailable, "presign", "this node serves no S3 port; start it with --s3 ADDRESS")
	}
	client := s3.NewPresignClient(s3.New(s3.Options{
		Region: Region, BaseEndpoint: endpoint, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(d.keys.admin.Access, d.keys.admin.Secret, ""),
	}), s3.WithPresignExpires(life))
	var url string
	err := error(nil)
	switch method {
	case http.MethodPut:
		req, e := client.PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key})
		if err = e; e == nil {
			url = req.URL
		}
	case http.MethodDelete:
		req, e := client.PresignDeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
		if err = e; e == nil {
			url = req.URL
		}
	case http.MethodHead:
		req, e := client.PresignHeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
		if err = e; e == nil {
			url = req.URL
		}
	default:
		req, e := client.PresignGetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)})
		if err = e; e == nil {
			url = req.URL
		}
	}
	return url, err
}

func (d *Driver) credentials(ctx context.Context, _ *struct{}) (*keyOutput, error) {
	if err := d.cfg.Authz.Authorize(ctx, mayfly.CallerFrom(ctx), "", configure, service.KindBucket, "*"); err != nil {
		return nil, err
	}
	out := &keyOutput{CacheControl: "no-store"}
	out.Body.Key, out.Body.Region = d.keys.admin, Region
	if url := d.url.Load(); url != nil {
		out.Body.Endpoint = *url
	}
	return out, nil
}
