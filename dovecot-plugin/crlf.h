/*
 * crlf: makes a storage store what IMAP serves: lines that end in CRLF.
 *
 * Dovecot's storages store bare LFs (dbox always, maildir by default) and put the CRs back when a client asks. A place in
 * the mail is then not a place in the file, and Dovecot reads a mail from its start to find byte 19,990,000. Sealed mail
 * is read by nobody but us, and a CR costs the compressor next to nothing: with CRLF, offsets are the same, and what was
 * decoded goes to the client as it is.
 *
 * A storage turns CR CR LF into CR LF, so this stream gives it one CR more. What comes out is to the byte what a client
 * of plain Dovecot would have got: LF and CRLF become CRLF, of several CRs before an LF one is lost.
 *
 *     crlf = basalt_crlf_create(input);
 *     ret = super.save_begin(ctx, crlf);      // it refers to its input itself
 *     i_stream_unref(&crlf);
 */
#ifndef BASALT_CRLF_H
#define BASALT_CRLF_H

struct istream;
struct mailbox;

struct istream *basalt_crlf_create(struct istream *input);
/* True where the storage takes CRs away. */
bool basalt_crlf_needed(struct mailbox *box);

#endif
