/* Certificates of TLS clients: libmicrohttpd asks for them and GnuTLS has them; their names are read by OpenSSL. */
#include <gnutls/gnutls.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "http_private.h"

static bool read_name(const X509 *cert, struct http_peer *out)
{
	uint8_t digest[32];
	unsigned len = sizeof digest;
	X509_NAME *subject = X509_get_subject_name(cert);
	int n = X509_NAME_get_text_by_NID(subject, NID_commonName, out->name, sizeof out->name);
	if (n <= 0 || (size_t)n >= sizeof out->name - 1 || strlen(out->name) != (size_t)n) return false; /* a NUL in it is a trick */
	if (!X509_NAME_digest(X509_get_issuer_name(cert), EVP_sha256(), digest, &len)) return false;
	snprintf(out->issuer_hash, sizeof out->issuer_hash, "%08lx", X509_NAME_hash_ex(X509_get_issuer_name(cert), NULL, NULL, NULL) & 0xffffffffu);
	for (unsigned i = 0; i < len; i++) snprintf(out->issuer_sha256 + (size_t)2 * i, 3, "%02x", digest[i]);
	return true;
}

bool http_peer(const struct http_request *req, struct http_peer *out)
{
	memset(out, 0, sizeof *out);
	if (!req->listener->is_tls || !req->server->has_client_ca) return false;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(req->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
	gnutls_session_t session = info != NULL ? info->tls_session : NULL;
	unsigned status = 1, count = 0;
	if (session == NULL || gnutls_certificate_verify_peers2(session, &status) != 0 || status != 0) return false;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
	if (chain == NULL || count == 0) return false;
	const unsigned char *der = chain[0].data;
	X509 *cert = d2i_X509(NULL, &der, (long)chain[0].size);
	bool is_good = cert != NULL && read_name(cert, out);
	X509_free(cert);
	return is_good;
}
