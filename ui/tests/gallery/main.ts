/** Every component in every state on one page, for the tests and the pictures. No part of what is shipped. */
import '../../src/styles/base.css';
import '../../src/styles/overlays.css';
import './gallery.css';

import { mount } from 'svelte';

import Gallery from './Gallery.svelte';

const target = document.getElementById('app');
if (target) mount(Gallery, { target });
