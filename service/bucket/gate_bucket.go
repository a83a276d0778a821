package bucket

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

func (g *gate) String() string { return "mayfly" }

// Shutdown is called by versitygw; the files outlive it.
func (g *gate) Shutdown() {}

// NormalizeObjectKey has nothing to do: keys with dot segments are refused.
func (g *gate) NormalizeObjectKey(_, object string) string { return object }

// ListBuckets lists every bucket for the administrator, and for a function the
// buckets of its app that it may list or read.
func (g *gate) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (out s3response.ListAllMyBucketsResult, err error) {
	who := g.caller(ctx)
	if who.Kind != mayfly.CallerAdmin && who.Kind != mayfly.CallerFunction {
		return out, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	entries, err := os.ReadDir(g.d.folders)
	if err != nil {
		return out, err
	}
	out.Owner.ID, out.Prefix = in.Owner, in.Prefix
	for _, e := range entries {
		name := e.Name()
		if who.Kind == mayfly.CallerFunction {
			if name = g.visible(ctx, who, name); name == "" {
				continue
			}
		}
		info, err := e.Info()
		if err != nil || !e.IsDir() || !strings.HasPrefix(name, in.Prefix) || name <= in.ContinuationToken {
			continue
		}
		if n := len(out.Buckets.Bucket); in.MaxBuckets > 0 && n == int(in.MaxBuckets) {
			out.ContinuationToken = out.Buckets.Bucket[n-1].Name
			break
		}
		out.Buckets.Bucket = append(out.Buckets.Bucket, s3response.ListAllMyBucketsEntry{Name: name, CreationDate: info.ModTime()})
	}
	return out, nil
}

// visible is the name by which a function knows a folder; "" where it may not
// know it.
func (g *gate) visible(ctx context.Context, who mayfly.Caller, folder string) string {
	app, bucket, _ := strings.Cut(folder, ".")
	if app != string(who.App) || g.d.spec(who.App, bucket) == nil {
		return ""
	}
	for _, verb := range []string{service.List, service.Read, service.Write} {
		if g.d.cfg.Authz.Authorize(ctx, who, who.App, verb, service.KindBucket, bucket) == nil {
			return bucket
		}
	}
	return ""
}

// HeadBucket answers whoever may list, read or write.
func (g *gate) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (out *s3.HeadBucketOutput, err error) {
	for _, verb := range []string{service.Read, service.Write, service.List} {
		if err = g.on(ctx, in.Bucket, verb, func(place) error { out, err = g.files.HeadBucket(ctx, in); return err }); err == nil {
			return out, nil
		}
	}
	return out, err
}

// GetBucketAcl says that there are no grants: the gate is the access control.
// versitygw asks it before the signature is verified, to find public buckets,
// and before most operations, to find out that the bucket exists.
func (g *gate) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	who := g.caller(ctx)
	if who.Kind == mayfly.CallerAnonymous {
		return nil, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	p, err := g.find(who, *in.Bucket)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.folder); errors.Is(err, fs.ErrNotExist) {
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucket, *in.Bucket)
	}
	return []byte("{}"), nil
}

// PutBucketAcl is refused: the gate is the access control.
func (g *gate) PutBucketAcl(ctx context.Context, bucket string, _ []byte) error {
	return g.in(ctx, bucket, configure, func(place) error { return s3err.GetAPIError(s3err.ErrNotImplemented) })
}

func (g *gate) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	return g.on(ctx, in.Bucket, configure, func(place) error { return g.files.CreateBucket(ctx, in, acl) })
}

func (g *gate) DeleteBucket(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.DeleteBucket(ctx, p.folder) })
}

func (g *gate) PutBucketVersioning(ctx context.Context, bucket string, status types.BucketVersioningStatus) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.PutBucketVersioning(ctx, p.folder, status) })
}

func (g *gate) GetBucketVersioning(ctx context.Context, bucket string) (out s3response.GetBucketVersioningOutput, err error) {
	err = g.in(ctx, bucket, service.List, func(p place) error {
		out, err = g.files.GetBucketVersioning(ctx, p.folder)
		return err
	})
	return out, err
}

// GetBucketPolicy says that there is none: grants decide.
func (g *gate) GetBucketPolicy(_ context.Context, bucket string) ([]byte, error) {
	return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucketPolicy, bucket)
}

func (g *gate) PutBucketCors(ctx context.Context, bucket string, cors []byte) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.PutBucketCors(ctx, p.folder, cors) })
}

// GetBucketCors is asked before the signature is verified, by browsers'
// preflights: the rules of a bucket are no secret.
func (g *gate) GetBucketCors(ctx context.Context, bucket string) ([]byte, error) {
	who := g.caller(ctx)
	if who.Kind == mayfly.CallerAnonymous {
		who = g.d.keys.caller(claimed(ctx))
	}
	p, err := g.find(who, bucket)
	if err != nil {
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchCORSConfiguration, bucket)
	}
	out, err := g.files.GetBucketCors(ctx, p.folder)
	return out, hide(err, bucket)
}

func (g *gate) DeleteBucketCors(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.DeleteBucketCors(ctx, p.folder) })
}

func (g *gate) PutBucketOwnershipControls(ctx context.Context, bucket string, ownership types.ObjectOwnership) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		return g.files.PutBucketOwnershipControls(ctx, p.folder, ownership)
	})
}

func (g *gate) GetBucketOwnershipControls(ctx context.Context, bucket string) (out types.ObjectOwnership, err error) {
	err = g.in(ctx, bucket, service.List, func(p place) error {
		out, err = g.files.GetBucketOwnershipControls(ctx, p.folder)
		return err
	})
	return out, err
}

func (g *gate) DeleteBucketOwnershipControls(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.DeleteBucketOwnershipControls(ctx, p.folder) })
}

func (g *gate) GetBucketTagging(ctx context.Context, bucket string) (out map[string]string, err error) {
	err = g.in(ctx, bucket, service.List, func(p place) error {
		out, err = g.files.GetBucketTagging(ctx, p.folder)
		return err
	})
	return out, err
}

func (g *gate) PutBucketTagging(ctx context.Context, bucket string, tags map[string]string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.PutBucketTagging(ctx, p.folder, tags) })
}

func (g *gate) DeleteBucketTagging(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.DeleteBucketTagging(ctx, p.folder) })
}

func (g *gate) PutObjectLockConfiguration(ctx context.Context, bucket string, config []byte) error {
	return g.in(ctx, bucket, configure, func(p place) error { return g.files.PutObjectLockConfiguration(ctx, p.folder, config) })
}

// GetObjectLockConfiguration is asked by versitygw before deletions and
// overwrites.
func (g *gate) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	p, err := g.find(g.caller(ctx), bucket)
	if err != nil {
		return nil, err
	}
	out, err := g.files.GetObjectLockConfiguration(ctx, p.folder)
	return out, hide(err, bucket)
}

func (g *gate) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (out s3response.ListObjectsResult, err error) {
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.List, func(place) error { out, err = g.files.ListObjects(ctx, in); return err })
	out.Name = &name
	return out, err
}

func (g *gate) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (out s3response.ListObjectsV2Result, err error) {
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.List, func(place) error { out, err = g.files.ListObjectsV2(ctx, in); return err })
	out.Name = &name
	return out, err
}

func (g *gate) ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput) (out s3response.ListVersionsResult, err error) {
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.List, func(place) error { out, err = g.files.ListObjectVersions(ctx, in); return err })
	out.Name = &name
	return out, err
}
