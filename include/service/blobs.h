/* Artifact contents on disk: half-finished uploads and the content-addressed store. Files only; rows are service/catalog.h's.
 *
 *   <state>/uploads/<artifact id>.part     what was received so far
 *   <state>/blobs/ab/<sha256>              complete, checked, never changed
 *
 * Bytes are written and hashed as they come, in constant memory. Whatever may wait for the disk (fdatasync, hashing a prefix that was received
 * before a restart, the final fsync and rename) is a job: a closed structure that runs on any thread.
 */
#ifndef AVIARY_SERVICE_BLOBS_H
#define AVIARY_SERVICE_BLOBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/crypto.h"
#include "base/err.h"

#define BLOBS_PARTS_MAX 64 /* uploads that memory follows; each holds a descriptor and a hash */

struct blobs;
struct inspection; /* service/inspect.h */
struct upload; /* one request's hold on an upload */

enum blob_job_kind {
	BLOB_SYNC,   /* the part's bytes up to `received_bytes` are made durable */
	BLOB_PUBLISH /* synced, hashed where the running hash is not known, compared, renamed into the store */
};

struct blob_job {
	enum blob_job_kind kind;
	int64_t artifact;        /* row id */
	int64_t received_bytes;  /* what is durable once the job has run */
	uint64_t generation;     /* of the part: a job that was overtaken by a new beginning changes nothing */
	int fd;                  /* its own descriptor of the part; closed by blob_job_free */
	bool is_hashed;          /* the content was hashed as it came, and is right */
	char sha256[SHA256_HEX]; /* wanted */
	char sha1[41], md5[33];  /* of a content that was hashed; else "" */
	char *part, *blob;       /* paths */
	char *uploads, *blobs;   /* their directories */
	struct inspection *inspection; /* of one that is published: its content is read, too; NULL: it is not */
	enum err result;
	struct fault fault;
};

AVIARY_MUST_CHECK enum err blobs_open(const char *state_dir, int64_t sync_bytes, int64_t reserve_bytes, struct blobs **out, struct fault *f);
void blobs_close(struct blobs *b); /* NULL is allowed */

/* What the row says. */
struct blob_target {
	int64_t artifact;
	int64_t size_bytes;
	int64_t received_bytes;
	const char *sha256;
};
#define UPLOAD_WHOLE (-1) /* first: the whole content, what came before is dropped */
#define UPLOAD_REST (-2)  /* first: from where it stopped, wherever that is */
/* An upload that was cut goes on where it stopped: memory may know of more bytes than the row. `len` -1: not announced. Errors as in
 * catalog_begin_upload. */
AVIARY_MUST_CHECK enum err blobs_begin(struct blobs *b, const struct blob_target *t, int64_t first, int64_t len, struct upload **out,
	struct fault *f);
/* ERR_TOO_LARGE: more than announced; ERR_FULL: disk full, what fits up to the last whole chunk stays; ERR_CONFLICT: taken over. */
AVIARY_MUST_CHECK enum err blobs_write(struct upload *u, const void *data, size_t len, struct fault *f);
struct blob_job *blobs_progress_job(struct upload *u); /* NULL: not due, or one is under way */
/* End of the request. Complete: a publishing job, also when the bytes are known to be wrong (the job's result says so). Else a syncing
 * job, or NULL. ERR_CONFLICT: taken over. Frees u. */
AVIARY_MUST_CHECK enum err blobs_finish(struct upload *u, struct blob_job **job, struct fault *f);
void blobs_abort(struct upload *u, struct blob_job **job);
int64_t blobs_received(const struct blobs *b, const struct blob_target *t); /* where to resume */
void blobs_forget(struct blobs *b, int64_t artifact); /* its row is gone, or its bytes are wrong: so is the part */
bool blobs_is_busy(const struct blobs *b, int64_t artifact); /* a request is uploading it, or it is being published */

void blob_job_run(struct blob_job *job);  /* any thread; sets result and fault */
/* On the loop, after it ran. False when it no longer counts: the upload began anew or is gone. */
bool blobs_job_done(struct blobs *b, const struct blob_job *job);
void blob_job_free(struct blob_job *job);

/* Path of a blob into out (at least as long as state_dir + 80). */
void blobs_path(const struct blobs *b, const char *sha256, char *out, size_t out_size);
bool blobs_has(const struct blobs *b, const char *sha256, int64_t size_bytes);
void blobs_remove(struct blobs *b, const char *sha256);
/* Asks about each file that a crash may have left; where the answer is no, it goes. At start, before anything is uploaded. */
struct blobs_keep {
	bool (*part)(void *ctx, int64_t artifact);
	bool (*blob)(void *ctx, const char *sha256);
	void *ctx;
};
void blobs_sweep(struct blobs *b, const struct blobs_keep *keep);

#endif
