/* version: what --version and STATUS say. */
#ifndef KEYD_VERSION_H
#define KEYD_VERSION_H

#define KEYD_VERSION "0.1"

#endif
