package bucket

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

func (g *gate) String() string { return "mayfly" }

// Shutdown is called by versitygw; the files outlive it.
func (g *gate) Shutdown() {}

// NormalizeObjectKey is what a policy is asked about: the key that the files
// would take. Keys with dot segments are refused after that.
func (g *gate) NormalizeObjectKey(bucket, object string) string {
	return g.d.files.NormalizeObjectKey(filepath.Join(g.d.folders, bucket), object)
}

// ListBuckets lists every bucket for the administrator, and for a member of an app
// the buckets of it that it may list or read.
func (g *gate) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (out s3response.ListAllMyBucketsResult, err error) {
	who := g.caller(ctx)
	if who.Kind == mayfly.CallerAnonymous {
		return out, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	entries, err := os.ReadDir(g.d.folders)
	if err != nil {
		return out, err
	}
	out.Owner.ID, out.Prefix = in.Owner, in.Prefix
	for _, e := range entries {
		name := e.Name()
		switch {
		case member(who):
			name = g.visible(ctx, who, name)
		case who.Kind == mayfly.CallerUser && !in.IsAdmin && g.owner(ctx, name) != who.Name:
			continue
		}
		if name == "" {
			continue
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

// owner is the account that owns a folder; "" where none does.
func (g *gate) owner(ctx context.Context, folder string) string {
	p, err := g.find(mayfly.Caller{}, folder)
	if err != nil || p.spec != nil {
		return ""
	}
	data, err := p.files.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &p.folder})
	if err != nil {
		return ""
	}
	acl, err := auth.ParseACL(data)
	if err != nil {
		return ""
	}
	return acl.Owner
}

// visible is the name by which a member of an app knows a folder; "" where it may not
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
		if err = g.on(ctx, in.Bucket, verb, func(p place) error { out, err = p.files.HeadBucket(ctx, in); return err }); err == nil {
			return out, nil
		}
	}
	return out, err
}

// GetBucketAcl is the access control list of a bucket that no app declares. One
// that an app declares has none: its members own what they know, and the gate
// decides. versitygw asks it before the signature is verified, to find public
// buckets, and before most operations, to find out that the bucket exists.
func (g *gate) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) ([]byte, error) {
	who := g.caller(ctx)
	p, err := g.find(who, *in.Bucket)
	if err != nil {
		return nil, err
	}
	switch {
	case member(who):
		return ownerOf(account(ctx))
	case p.spec != nil:
		return []byte("{}"), nil
	}
	name := *in.Bucket
	out, err := p.files.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &p.folder})
	return out, hide(err, name)
}

// declared refuses to change who may use a bucket that an app declares.
func declared(p place) error {
	if p.spec == nil {
		return nil
	}
	return denied("an app declares this bucket: its manifest says who may use it, by allow lines and public")
}

func (g *gate) PutBucketAcl(ctx context.Context, bucket string, acl []byte) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		if err := declared(p); err != nil {
			return err
		}
		return p.files.PutBucketAcl(ctx, p.folder, acl)
	})
}

// CreateBucket says of a bucket that an app declares that it is there, as S3 does to
// its owner: tools ask for it before they write.
func (g *gate) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, acl []byte) error {
	who := g.caller(ctx)
	if p, err := g.find(who, *in.Bucket); err == nil && p.spec != nil && !outside(who) {
		return s3err.GetBucketErr(s3err.ErrBucketAlreadyOwnedByYou, *in.Bucket)
	}
	return g.on(ctx, in.Bucket, configure, func(p place) error { return p.files.CreateBucket(ctx, in, acl) })
}

func (g *gate) DeleteBucket(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.DeleteBucket(ctx, p.folder) })
}

func (g *gate) PutBucketVersioning(ctx context.Context, bucket string, status types.BucketVersioningStatus) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.PutBucketVersioning(ctx, p.folder, status) })
}

func (g *gate) GetBucketVersioning(ctx context.Context, bucket string) (out s3response.GetBucketVersioningOutput, err error) {
	err = g.in(ctx, bucket, service.List, func(p place) error {
		out, err = p.files.GetBucketVersioning(ctx, p.folder)
		return err
	})
	return out, err
}

// GetBucketPolicy is the policy of a bucket that no app declares: of others
// grants decide. It is asked before the signature is verified, too.
func (g *gate) GetBucketPolicy(ctx context.Context, bucket string) ([]byte, error) {
	p, err := g.find(g.caller(ctx), bucket)
	if err != nil || p.spec != nil {
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucketPolicy, bucket)
	}
	out, err := p.files.GetBucketPolicy(ctx, p.folder)
	return out, hide(err, bucket)
}

func (g *gate) PutBucketPolicy(ctx context.Context, bucket string, policy []byte) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		if err := declared(p); err != nil {
			return err
		}
		return p.files.PutBucketPolicy(ctx, p.folder, policy)
	})
}

func (g *gate) DeleteBucketPolicy(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.DeleteBucketPolicy(ctx, p.folder) })
}

// ChangeBucketOwner and ListBucketsAndOwners are versitygw's own, for its
// administrator.
func (g *gate) ChangeBucketOwner(ctx context.Context, bucket, owner string) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		if err := declared(p); err != nil {
			return err
		}
		return p.files.ChangeBucketOwner(ctx, p.folder, owner)
	})
}

func (g *gate) ListBucketsAndOwners(ctx context.Context) ([]s3response.Bucket, error) {
	entries, err := os.ReadDir(g.d.folders)
	if err != nil {
		return nil, err
	}
	var out []s3response.Bucket
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, s3response.Bucket{Name: e.Name(), Owner: g.owner(ctx, e.Name())})
		}
	}
	return out, nil
}

func (g *gate) PutBucketCors(ctx context.Context, bucket string, cors []byte) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		if p.spec != nil && (p.spec.cors != nil || p.spec.elsewhere()) {
			return denied("the cross-origin rules of this bucket are its app's: they stand under cors: in the manifest")
		}
		return p.files.PutBucketCors(ctx, p.folder, cors)
	})
}

// GetBucketCors is asked before the signature is verified, by browsers'
// preflights: the rules of a bucket are no secret.
func (g *gate) GetBucketCors(ctx context.Context, bucket string) ([]byte, error) {
	who := g.caller(ctx)
	if who.Kind == mayfly.CallerAnonymous {
		who = g.d.keys.caller(claimed(ctx))
	}
	p, err := g.find(who, bucket)
	switch {
	case err != nil:
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchCORSConfiguration, bucket)
	case p.spec != nil && p.spec.cors != nil:
		return corsXML(p.spec.cors)
	case p.spec != nil && p.spec.elsewhere():
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchCORSConfiguration, bucket)
	}
	out, err := p.files.GetBucketCors(ctx, p.folder)
	return out, hide(err, bucket)
}

func (g *gate) DeleteBucketCors(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.DeleteBucketCors(ctx, p.folder) })
}

func (g *gate) PutBucketOwnershipControls(ctx context.Context, bucket string, ownership types.ObjectOwnership) error {
	return g.in(ctx, bucket, configure, func(p place) error {
		return p.files.PutBucketOwnershipControls(ctx, p.folder, ownership)
	})
}

func (g *gate) GetBucketOwnershipControls(ctx context.Context, bucket string) (out types.ObjectOwnership, err error) {
	err = g.in(ctx, bucket, service.List, func(p place) error {
		out, err = p.files.GetBucketOwnershipControls(ctx, p.folder)
		return err
	})
	return out, err
}

func (g *gate) DeleteBucketOwnershipControls(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.DeleteBucketOwnershipControls(ctx, p.folder) })
}

func (g *gate) GetBucketTagging(ctx context.Context, bucket string) (out map[string]string, err error) {
	err = g.in(ctx, bucket, service.List, func(p place) error {
		out, err = p.files.GetBucketTagging(ctx, p.folder)
		return err
	})
	return out, err
}

func (g *gate) PutBucketTagging(ctx context.Context, bucket string, tags map[string]string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.PutBucketTagging(ctx, p.folder, tags) })
}

func (g *gate) DeleteBucketTagging(ctx context.Context, bucket string) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.DeleteBucketTagging(ctx, p.folder) })
}

func (g *gate) PutObjectLockConfiguration(ctx context.Context, bucket string, config []byte) error {
	return g.in(ctx, bucket, configure, func(p place) error { return p.files.PutObjectLockConfiguration(ctx, p.folder, config) })
}

// GetObjectLockConfiguration is asked by versitygw before deletions and
// overwrites.
func (g *gate) GetObjectLockConfiguration(ctx context.Context, bucket string) ([]byte, error) {
	p, err := g.open(g.caller(ctx), bucket)
	if err != nil {
		return nil, err
	}
	out, err := p.files.GetObjectLockConfiguration(ctx, p.folder)
	return out, hide(err, bucket)
}

func (g *gate) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (out s3response.ListObjectsResult, err error) {
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.List, func(p place) error { out, err = p.files.ListObjects(ctx, in); return err })
	out.Name = &name
	return out, err
}

func (g *gate) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (out s3response.ListObjectsV2Result, err error) {
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.List, func(p place) error { out, err = p.files.ListObjectsV2(ctx, in); return err })
	out.Name = &name
	return out, err
}

func (g *gate) ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput) (out s3response.ListVersionsResult, err error) {
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.List, func(p place) error { out, err = p.files.ListObjectVersions(ctx, in); return err })
	out.Name = &name
	return out, err
}
