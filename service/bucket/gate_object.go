package bucket

import (
	"bufio"
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
)

// write is on for an operation that makes an object: it keeps the quota, which
// size counts towards, and tells of the event that made names.
func (g *gate) write(ctx context.Context, bucket, key *string, size int64, event string, do func(p place) (made, error)) error {
	if err := checkKey(key); err != nil {
		return err
	}
	return g.on(ctx, bucket, service.Write, func(p place) error {
		release, err := g.d.reserve(p, *key, size)
		if err != nil {
			return err
		}
		intent, err := g.d.intend(ctx, g.caller(ctx), p, *key, event)
		if err != nil {
			release(false)
			return err
		}
		m, err := do(p)
		release(err == nil)
		if err != nil {
			intent.drop()
			return err
		}
		intent.tell(mayfly.WithTrace(ctx, p.trace), m)
		return nil
	})
}

// made is what a write left.
type made struct {
	etag, version string
	marker        bool // of a delete: a marker, not the object
}

func (g *gate) PutObject(ctx context.Context, in s3response.PutObjectInput) (out s3response.PutObjectOutput, err error) {
	var size int64
	if in.ContentLength != nil {
		size = *in.ContentLength
	}
	err = g.write(ctx, in.Bucket, in.Key, size, putEvent(ctx), func(p place) (made, error) {
		out, err = p.files.PutObject(ctx, in)
		return made{etag: out.ETag, version: out.VersionID}, err
	})
	return out, err
}

// putEvent is S3's name of an upload: of a browser's form, or of a client.
func putEvent(ctx context.Context) string {
	if rc, ok := ctx.(*fasthttp.RequestCtx); ok && rc.IsPost() {
		return "ObjectCreated:Post"
	}
	return "ObjectCreated:Put"
}

func (g *gate) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (out *s3.HeadObjectOutput, err error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	err = g.on(ctx, in.Bucket, service.Read, func(p place) error { out, err = p.files.HeadObject(ctx, in); return err })
	return out, err
}

func (g *gate) GetObject(ctx context.Context, in *s3.GetObjectInput) (out *s3.GetObjectOutput, err error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	err = g.on(ctx, in.Bucket, service.Read, func(p place) error { out, err = p.files.GetObject(ctx, in); return err })
	return out, err
}

func (g *gate) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (out s3response.GetObjectAttributesResponse, err error) {
	if err := checkKey(in.Key); err != nil {
		return out, err
	}
	err = g.on(ctx, in.Bucket, service.Read, func(p place) error { out, err = p.files.GetObjectAttributes(ctx, in); return err })
	return out, err
}

// DeleteObject tells of an event where the object was there.
func (g *gate) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (out *s3.DeleteObjectOutput, err error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	err = g.on(ctx, in.Bucket, service.Delete, func(p place) error {
		intent, err := g.d.intend(ctx, g.caller(ctx), p, *in.Key, "ObjectRemoved:Delete")
		if err != nil {
			return err
		}
		freed := g.d.deleting(ctx, p, in)
		if out, err = p.files.DeleteObject(ctx, in); err != nil {
			intent.drop()
			return err
		}
		freed()
		m := made{marker: out.DeleteMarker != nil && *out.DeleteMarker && in.VersionId == nil}
		if out.VersionId != nil {
			m.version = *out.VersionId
		}
		intent.tell(mayfly.WithTrace(ctx, p.trace), m)
		return nil
	})
	return out, err
}

// DeleteObjects deletes one after another, so that each has its event.
func (g *gate) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (out s3response.DeleteResult, err error) {
	if _, err := g.enter(ctx, *in.Bucket, service.Delete); err != nil {
		return out, err
	}
	for _, o := range in.Delete.Objects {
		bucket, key := *in.Bucket, *o.Key
		deleted, err := g.DeleteObject(ctx, &s3.DeleteObjectInput{
			Bucket: &bucket, Key: &key, VersionId: o.VersionId,
			IfMatch: o.ETag, IfMatchLastModifiedTime: o.LastModifiedTime, IfMatchSize: o.Size,
		})
		if err != nil {
			out.Error = append(out.Error, deleteError(o, err))
			continue
		}
		entry := types.DeletedObject{Key: o.Key, VersionId: o.VersionId, DeleteMarker: deleted.DeleteMarker}
		if deleted.DeleteMarker != nil && *deleted.DeleteMarker {
			entry.DeleteMarkerVersionId = deleted.VersionId
		}
		out.Deleted = append(out.Deleted, entry)
	}
	return out, nil
}

func deleteError(o types.ObjectIdentifier, err error) types.Error {
	base := s3err.GetAPIError(s3err.ErrInternalError)
	if s, ok := err.(s3err.S3Error); ok {
		base = s.BaseError()
	}
	return types.Error{Key: o.Key, VersionId: o.VersionId, Code: &base.Code, Message: &base.Description}
}

func (g *gate) GetObjectTagging(ctx context.Context, bucket, object, version string) (out map[string]string, err error) {
	if err := checkKey(&object); err != nil {
		return nil, err
	}
	err = g.in(ctx, bucket, service.Read, func(p place) error {
		out, err = p.files.GetObjectTagging(ctx, p.folder, object, version)
		return err
	})
	return out, err
}

func (g *gate) PutObjectTagging(ctx context.Context, bucket, object, version string, tags map[string]string) error {
	return g.edit(ctx, bucket, object, func(p place) error {
		return p.files.PutObjectTagging(ctx, p.folder, object, version, tags)
	})
}

func (g *gate) DeleteObjectTagging(ctx context.Context, bucket, object, version string) error {
	return g.edit(ctx, bucket, object, func(p place) error {
		return p.files.DeleteObjectTagging(ctx, p.folder, object, version)
	})
}

// edit is a write that changes what is said about an object, not the object.
func (g *gate) edit(ctx context.Context, bucket, object string, do func(p place) error) error {
	if err := checkKey(&object); err != nil {
		return err
	}
	return g.in(ctx, bucket, service.Write, do)
}

func (g *gate) PutObjectRetention(ctx context.Context, bucket, object, version string, retention []byte) error {
	return g.edit(ctx, bucket, object, func(p place) error {
		return p.files.PutObjectRetention(ctx, p.folder, object, version, retention)
	})
}

func (g *gate) GetObjectRetention(ctx context.Context, bucket, object, version string) (out []byte, err error) {
	err = g.locked(ctx, bucket, object, func(p place) error {
		out, err = p.files.GetObjectRetention(ctx, p.folder, object, version)
		return err
	})
	return out, err
}

func (g *gate) PutObjectLegalHold(ctx context.Context, bucket, object, version string, status bool) error {
	return g.edit(ctx, bucket, object, func(p place) error {
		return p.files.PutObjectLegalHold(ctx, p.folder, object, version, status)
	})
}

func (g *gate) GetObjectLegalHold(ctx context.Context, bucket, object, version string) (out *bool, err error) {
	err = g.locked(ctx, bucket, object, func(p place) error {
		out, err = p.files.GetObjectLegalHold(ctx, p.folder, object, version)
		return err
	})
	return out, err
}

// locked reads what locks an object. versitygw asks it before a delete, so that
// a caller who may delete may cause it, without a grant to read.
func (g *gate) locked(ctx context.Context, bucket, object string, do func(p place) error) error {
	if err := checkKey(&object); err != nil {
		return err
	}
	p, err := g.open(g.caller(ctx), bucket)
	if err != nil {
		return err
	}
	return hide(do(p), bucket)
}

// SelectObjectContent is refused: versitygw's files do not offer it either.
func (g *gate) SelectObjectContent(ctx context.Context, in *s3.SelectObjectContentInput) func(w *bufio.Writer) {
	return g.BackendUnsupported.SelectObjectContent(ctx, in)
}
