package bucket

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly/service"
)

func (g *gate) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (out s3response.InitiateMultipartUploadResult, err error) {
	if err := checkKey(in.Key); err != nil {
		return out, err
	}
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.Write, func(p place) error {
		out, err = p.files.CreateMultipartUpload(ctx, in)
		return err
	})
	out.Bucket = name
	return out, err
}

// UploadPart counts towards the quota already, so that an upload fails early.
func (g *gate) UploadPart(ctx context.Context, in *s3.UploadPartInput) (out *s3.UploadPartOutput, err error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	err = g.on(ctx, in.Bucket, service.Write, func(p place) error {
		if in.ContentLength != nil {
			release, err := g.d.reserve(p, "", *in.ContentLength)
			if err != nil {
				return err
			}
			release(false)
		}
		out, err = p.files.UploadPart(ctx, in)
		return err
	})
	return out, err
}

func (g *gate) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (out s3response.CompleteMultipartUploadResult, version string, err error) {
	name := *in.Bucket
	size := g.uploadSize(ctx, in)
	err = g.write(ctx, in.Bucket, in.Key, size, "ObjectCreated:CompleteMultipartUpload", func(p place) (made, error) {
		out, version, err = p.files.CompleteMultipartUpload(ctx, in)
		m := made{version: version}
		if out.ETag != nil {
			m.etag = *out.ETag
		}
		return m, err
	})
	out.Bucket = &name
	return out, version, err
}

// uploadSize is the size of the parts of an upload to a bucket that counts; 0
// where it cannot be told, and the upload will then fail by itself.
func (g *gate) uploadSize(ctx context.Context, in *s3.CompleteMultipartUploadInput) (size int64) {
	p, err := g.open(g.caller(ctx), *in.Bucket)
	if err != nil || !p.counts() {
		return 0
	}
	most, marker := int32(1000), ""
	for {
		out, err := p.files.ListParts(ctx, &s3.ListPartsInput{Bucket: &p.folder, Key: in.Key, UploadId: in.UploadId, MaxParts: &most, PartNumberMarker: &marker})
		if err != nil {
			return size
		}
		for _, part := range out.Parts {
			size += part.Size
		}
		if !out.IsTruncated {
			return size
		}
		marker = itoa(out.NextPartNumberMarker)
	}
}

func (g *gate) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	if err := checkKey(in.Key); err != nil {
		return err
	}
	return g.on(ctx, in.Bucket, service.Write, func(p place) error { return p.files.AbortMultipartUpload(ctx, in) })
}

func (g *gate) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (out s3response.ListMultipartUploadsResult, err error) {
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.List, func(p place) error { out, err = p.files.ListMultipartUploads(ctx, in); return err })
	out.Bucket = name
	return out, err
}

func (g *gate) ListParts(ctx context.Context, in *s3.ListPartsInput) (out s3response.ListPartsResult, err error) {
	if err := checkKey(in.Key); err != nil {
		return out, err
	}
	name := *in.Bucket
	err = g.on(ctx, in.Bucket, service.Write, func(p place) error { out, err = p.files.ListParts(ctx, in); return err })
	out.Bucket = name
	return out, err
}
